package api

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// beDaemon serves SOCKET in a mount namespace in which GROUPS is /etc/group.
func beDaemon(args string) {
	socket, groups, _ := strings.Cut(args, " ")
	check(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	check(syscall.Mount(groups, "/etc/group", "", syscall.MS_BIND, ""))
	l, err := Listen(socket)
	check(err)
	fmt.Println("serving")
	check(Serve(context.Background(), l, new(stub)))
}

// askAs asks at SOCKET as UID and GID with further groups, and prints by whom
// the daemon says it was asked.
func askAs(args string) {
	words := strings.Fields(args)
	var ids []int
	for _, w := range words[1:] {
		n, err := strconv.Atoi(w)
		check(err)
		ids = append(ids, n)
	}
	check(syscall.Setgroups(ids[2:]))
	check(syscall.Setresgid(ids[1], ids[1], ids[1]))
	check(syscall.Setresuid(ids[0], ids[0], ids[0]))
	s, err := NewClient(words[0]).Status(context.Background())
	check(err)
	fmt.Println("asked by " + s.Gate)
	os.Exit(0)
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(0)
	}
}
