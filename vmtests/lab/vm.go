package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/vmtests/lab/agent"
)

// emulator runs a machine without /dev/kvm: where a host of tests has one, a
// stock kernel need not boot with it.
const emulator = "qemu-system-x86_64"

// hardware is what a machine is made of, but for its files and wires. A
// snapshot goes on in the same hardware only.
func hardware() []string {
	return []string{
		"-M", "q35,hpet=off,usb=off", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512", "-smp", "2",
		"-nodefaults", "-display", "none",
		"-append", "console=ttyS0 quiet loglevel=4 net.ifnames=1 mitigations=off random.trust_cpu=on panic=-1 systemd.show_status=0 audit=0 apparmor=0" +
			" sysctl.net.ipv4.ip_forward=1 sysctl.net.ipv6.conf.all.forwarding=1",
		"-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci",
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=" + agent.Port,
		"-device", "virtio-net-pci,netdev=client,mac=" + clientMAC.String(),
		"-device", "virtio-net-pci,netdev=backend,mac=" + backendMAC.String(),
	}
}

// A VM is a Debian in an emulated computer, with a kernel of its own.
type VM struct {
	dir  string // of its sockets and of what it prints
	qemu *exec.Cmd
	gone chan struct{}
	port net.Conn

	mu      sync.Mutex
	asked   int64
	answers map[int64]chan agent.Answer
	started chan struct{} // the agent has been, at another boot
}

// powerOn starts the machine of a folder of [image] with a disk, at a snapshot
// of it unless that is "".
func powerOn(ctx context.Context, l *nettest.Lab, image, disk, snapshot string) (_ *VM, err error) {
	v := &VM{dir: l.Dir, gone: make(chan struct{}), answers: map[int64]chan agent.Answer{}, started: make(chan struct{}, 1)}
	args := append(hardware(),
		"-kernel", filepath.Join(image, "kernel"), "-initrd", filepath.Join(image, "initrd"),
		"-drive", "file="+disk+",format=qcow2,if=none,id=disk,cache=unsafe",
		"-chardev", "socket,id=agent,path=agent,server=on,wait=off",
		"-chardev", "socket,id=console,path=console,server=on,wait=off,logfile=console.log", "-serial", "chardev:console",
		"-monitor", "unix:monitor,server=on,wait=off",
		"-netdev", "tap,id=client,ifname=tap-"+nettest.ClientSide+",script=no,downscript=no",
		"-netdev", "tap,id=backend,ifname=tap-"+nettest.BackendSide+",script=no,downscript=no",
	)
	if snapshot != "" {
		args = append(args, "-loadvm", snapshot)
	}
	v.qemu = l.Gateway.Command(context.Background(), emulator, args...)
	v.qemu.Dir = v.dir // a socket's path must be short
	log, err := os.Create(filepath.Join(v.dir, "qemu.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	v.qemu.Stdout, v.qemu.Stderr = log, log
	if err := v.qemu.Start(); err != nil {
		return nil, err
	}
	go func() {
		v.qemu.Wait()
		close(v.gone)
	}()
	if v.port, err = v.dial(ctx, "agent"); err != nil {
		v.PowerOff()
		return nil, err
	}
	go v.listen()
	return v, nil
}

// dial connects to one of the machine's sockets, which is there soon.
func (v *VM) dial(ctx context.Context, socket string) (net.Conn, error) {
	for {
		c, err := net.Dial("unix", filepath.Join(v.dir, socket))
		if err == nil {
			return c, nil
		}
		select {
		case <-v.gone:
			return nil, fmt.Errorf("the machine did not start: %v", v.qemu.ProcessState)
		case <-ctx.Done():
			return nil, errors.Join(err, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// listen takes answers until the machine is gone.
func (v *VM) listen() {
	lines := bufio.NewReader(v.port)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var a agent.Answer
		if json.Unmarshal(line, &a) != nil {
			continue // cut by a reset
		}
		if a.ID == 0 {
			select {
			case v.started <- struct{}{}:
			default:
			}
			continue
		}
		v.mu.Lock()
		if c := v.answers[a.ID]; c != nil {
			c <- a
		}
		v.mu.Unlock()
	}
}

// Run runs a command on the machine, as root.
func (v *VM) Run(ctx context.Context, stdin []byte, argv ...string) (stdout, stderr string, err error) {
	v.mu.Lock()
	v.asked++
	c := agent.Call{ID: v.asked, Argv: argv, Stdin: stdin}
	answer := make(chan agent.Answer, 1)
	v.answers[c.ID] = answer
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.answers, c.ID)
	}()
	if err := v.send(c); err != nil {
		return "", "", err
	}
	select {
	case a := <-answer:
		switch {
		case a.Error != "":
			err = errors.New(a.Error)
		case a.Exit != 0:
			err = fmt.Errorf("%s: exit status %d", argv[0], a.Exit)
		}
		return string(a.Stdout), string(a.Stderr), err
	case <-v.gone:
		return "", "", fmt.Errorf("%s: the machine stopped", argv[0])
	case <-ctx.Done():
		return "", "", fmt.Errorf("%s: no answer: %w", argv[0], context.Cause(ctx))
	}
}

func (v *VM) send(c agent.Call) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if _, err := v.port.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("ask the machine: %w", err)
	}
	return nil
}

// Write writes a file on the machine.
func (v *VM) Write(ctx context.Context, name string, text []byte) error {
	if _, errs, err := v.Run(ctx, text, "sh", "-c", `cat >"$0"`, name); err != nil {
		return fmt.Errorf("write %s: %w: %s", name, err, errs)
	}
	return nil
}

// Booted waits until systemd says that the boot is over. Some unit of it may
// have failed.
func (v *VM) Booted(ctx context.Context) error {
	select {
	case <-v.started:
	case <-v.gone:
		return errors.New("the machine stopped while it booted")
	case <-ctx.Done():
		return fmt.Errorf("the machine does not boot: %w", context.Cause(ctx))
	}
	out, errs, err := v.Run(ctx, nil, "systemctl", "is-system-running", "--wait")
	if state := strings.TrimSpace(out); state != "running" && state != "degraded" {
		return fmt.Errorf("the machine is still booting: %s: %w: %s", state, err, errs)
	}
	return nil
}

// Reboot restarts the machine the orderly way and returns before it does so:
// the agent may be gone before it can answer.
func (v *VM) Reboot() error { return v.send(agent.Call{ID: -1, Argv: []string{"systemctl", "reboot"}}) }

// Reset is the button on the machine's front.
func (v *VM) Reset() error { return v.monitor("system_reset") }

// save writes everything into the machine's disk and ends it.
func (v *VM) save(snapshot string) error {
	if _, _, err := v.Run(context.Background(), nil, "sync"); err != nil {
		return err
	}
	if err := v.monitor("savevm " + snapshot); err != nil {
		return err
	}
	v.PowerOff()
	return nil
}

// monitor says something to the emulator's console, which answers with nothing
// when it is done.
func (v *VM) monitor(command string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := v.dial(ctx, "monitor")
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	const prompt = "(qemu) "
	r := bufio.NewReader(c)
	if err := skipTo(r, prompt); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if _, err := fmt.Fprintln(c, command); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if err := skipTo(r, prompt); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// skipTo reads until text has been read.
func skipTo(r *bufio.Reader, text string) error {
	var read []byte
	for !bytes.HasSuffix(read, []byte(text)) {
		b, err := r.ReadByte()
		if err != nil {
			return fmt.Errorf("%w after %q, and before %q", err, read, text)
		}
		read = append(read, b)
		if bytes.HasSuffix(read, []byte("\nError")) {
			line, _ := r.ReadString('\n')
			return fmt.Errorf("Error%s", line)
		}
	}
	return nil
}

// PowerOff takes the machine's power away.
func (v *VM) PowerOff() {
	v.qemu.Process.Kill()
	<-v.gone
	if v.port != nil {
		v.port.Close()
	}
}

// A Prepared machine is one that was booted, and changed, once; each test goes
// on from there with a copy of its own.
type Prepared struct{ image, disk string }

// Prepare makes a machine with a file in its /root and does to it what a shell
// script says, boots it, and changes it. All of it is gone with the test.
func Prepare(t testing.TB, file, install string, change func(context.Context, *VM) error) Prepared {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dir := t.TempDir()
	p := Prepared{disk: filepath.Join(dir, "prepared.qcow2")}
	var err error
	if p.image, err = image(ctx); err != nil {
		t.Fatal(err)
	}
	raw := filepath.Join(dir, "disk")
	if err := script(ctx, install, "disk", filepath.Join(p.image, "tree.tar"), file, raw); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, p.disk).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v\n%s", err, out)
	}
	l, err := newWires(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	v, err := powerOn(ctx, l, p.image, p.disk, "")
	if err != nil {
		t.Fatal(err)
	}
	defer v.PowerOff()
	if err = v.Booted(ctx); err == nil {
		err = change(ctx, v)
	}
	if err == nil {
		err = v.save("prepared")
	}
	if err != nil {
		v.confess(t)
		t.Fatal(err)
	}
	return p
}

// Start goes on with a copy of the machine, in a lab of the test's, and stops it
// with the test.
func (p Prepared) Start(t testing.TB) (*nettest.Lab, *VM) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l, err := newWires(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	disk := filepath.Join(l.Dir, "disk.qcow2")
	if out, err := exec.Command("cp", "--reflink=auto", p.disk, disk).CombinedOutput(); err != nil {
		t.Fatalf("copy the machine: %v\n%s", err, out)
	}
	v, err := powerOn(ctx, l, p.image, disk, "prepared")
	if err == nil {
		err = v.setClock(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			v.confess(t)
		}
		v.PowerOff()
	})
	return l, v
}

// setClock tells the machine the time: its clock stood still while it was saved.
func (v *VM) setClock(ctx context.Context) error {
	now := time.Now()
	_, errs, err := v.Run(ctx, nil, "date", "-s", fmt.Sprintf("@%d.%09d", now.Unix(), now.Nanosecond()))
	if err != nil {
		return fmt.Errorf("set the machine's clock: %w: %s", err, errs)
	}
	return nil
}

// confess tells what the machine said of itself.
func (v *VM) confess(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if out, _, err := v.Run(ctx, nil, "journalctl", "--no-pager", "--lines=80", "--output=short-monotonic"); err == nil {
		t.Logf("the end of the machine's journal:\n%s", out)
	}
	for _, name := range []string{"console.log", "qemu.log"} {
		if text, err := os.ReadFile(filepath.Join(v.dir, name)); err == nil {
			t.Logf("%s:\n%s", name, text)
		}
	}
}
