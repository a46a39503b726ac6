package netfilter

import "errors"

// Guard closes the way before there is a gate, and for as long as there is
// none: it installs the rules of a gate whose listeners are not there. What
// people send to an entry's port of a protected address is refused from the
// moment it returns, interfaces that do not exist yet included. A gate that
// opens later takes the rules over as they are. Where there is a [*Namesake] it
// does nothing.
//
// Guard works on the network namespace of the calling thread and leaves
// nothing but rules behind; [Cleanup] removes them.
func Guard(c Config) error {
	c, err := c.checked()
	if err != nil {
		return err
	}
	k, err := openKernel()
	if err != nil {
		return err
	}
	defer k.close()
	var other *Namesake
	if err := k.namesake(); errors.As(err, &other) {
		return err // whatever else is wrong with nftables, the routing rules close
	}
	return (&Gate{kernel: k}).apply(desired(c, nil))
}
