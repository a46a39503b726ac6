#!/bin/bash
# Makes machines that boot by themselves. Needs root.
#
#   image.sh machine ROOTFS.tar KERNEL-PACKAGE AGENT OUT
#       OUT/tree.tar, OUT/kernel and OUT/initrd: a Debian router
#   image.sh disk TREE.tar FILE DISK
#       that one's disk (ext4), with FILE in /root, after what standard input
#       says was done to it
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir "$work"/{root,package,initrd}

machine() {
  local rootfs=$1 package=$2 agent=$3 out=$4 version
  tar -C "$root" -xf "$rootfs"

  # A kernel that is unpacked and not installed: making its initrd takes longer
  # than all the rest. Its modules are not compressed, for a slow processor.
  (cd "$work" && apt-get -o APT::Sandbox::User=root -qq download "$package")
  dpkg-deb -x "$work"/*.deb "$work/package"
  version=$(ls "$work/package/lib/modules")
  mkdir -p "$root/usr/lib/modules"
  cp -a "$work/package/lib/modules/$version" "$root/usr/lib/modules/"
  find "$root/usr/lib/modules" -name '*.xz' -print0 | xargs -0 unxz
  chroot "$root" depmod "$version"
  cp "$work/package/boot/vmlinuz-$version" "$out/kernel"

  # The disk's driver, then Debian.
  mkdir -p "$work"/initrd/{bin,dev,proc,root}
  cp "$(command -v busybox)" "$work/initrd/bin/busybox"
  cp "$root/usr/lib/modules/$version/kernel/drivers/block/virtio_blk.ko" "$work/initrd/"
  cat >"$work/initrd/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox insmod /virtio_blk.ko
until [ -b /dev/vda ]; do /bin/busybox sleep 0.01; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox umount /dev
exec /bin/busybox switch_root /root /sbin/init
INIT
  chmod 755 "$work/initrd/init"
  (cd "$work/initrd" && find . | cpio --quiet -o -H newc) >"$out/initrd"

  router "$agent"
  tar -C "$root" -cf "$out/tree.tar" .
}

# A router with a leg to the people and one to the servers. It forwards from
# the kernel's first moment on (see the kernel's command line).
router() {
  cd "$root/etc"
  echo "/dev/vda / ext4 rw,noatime 0 0" >fstab
  echo gate-1 >hostname
  echo "127.0.0.1 localhost gate-1" >hosts
  : >machine-id
  sed -i 's/^root:[^:]*:/root::/' shadow # whoever sits at the console
  leg c0 52:54:00:00:00:01 10.50.0.1/24 fd50::1/64
  leg b0 52:54:00:00:00:02 10.30.0.1/24 fd30::1/64
  printf 'virtio_net\nvirtio_rng\n' >modules-load.d/lab.conf

  # What only costs time at boot.
  for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer systemd-timesyncd.service getty@tty1.service systemd-update-utmp.service systemd-hwdb-update.service \
    systemd-journal-flush.service systemd-random-seed.service systemd-networkd-wait-online.service \
    systemd-logind.service systemd-network-generator.service systemd-pstore.service kmod-static-nodes.service modprobe@.service \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount; do
    ln -sf /dev/null "systemd/system/$unit"
  done
  for module in kvm_amd kvm_intel ahci aesni_intel ghash_clmulni_intel sha512_ssse3 sha256_ssse3 sha1_ssse3 \
    crc32_pclmul crc32c_intel crct10dif_pclmul button evdev serio_raw qemu_fw_cfg; do
    echo "blacklist $module"
  done >modprobe.d/lab.conf

  install -m 755 "$1" "$root/usr/local/sbin/labagent"
  cat >systemd/system/labagent.service <<'UNIT'
[Unit]
Description=what the stories ask of this machine
DefaultDependencies=no
After=systemd-remount-fs.service systemd-tmpfiles-setup.service
Before=shutdown.target
Conflicts=shutdown.target
[Service]
ExecStart=/usr/local/sbin/labagent
[Install]
WantedBy=sysinit.target
UNIT
  systemctl --root="$root" --quiet enable labagent.service systemd-networkd.service
  rm -rf "$root"/var/lib/apt/lists/*
}

leg() { # NAME MAC ADDRESS ADDRESS
  printf '[Match]\nMACAddress=%s\n[Link]\nName=%s\n' "$2" "$1" >"systemd/network/10-$1.link"
  printf '[Match]\nName=%s\n[Network]\nLinkLocalAddressing=ipv6\nIPv6AcceptRA=no\nConfigureWithoutCarrier=yes\n' "$1" >"systemd/network/10-$1.network"
  printf '[Address]\nAddress=%s\nDuplicateAddressDetection=none\n' "$3" "$4" >>"systemd/network/10-$1.network"
}

disk() {
  tar -C "$root" -xf "$1"
  cp "$2" "$root/root/"
  chroot "$root" env DEBIAN_FRONTEND=noninteractive sh -e
  mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -E lazy_itable_init=1,nodiscard -L root -d "$root" "$3" 1200M
}

"$@"
