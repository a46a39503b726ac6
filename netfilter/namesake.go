package netfilter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Namesake is an nftables table of somebody else's that has our table's
// name. It is theirs: whoever finds it when a gate or a guard begins changes
// nothing. What appears in the table of a running gate is another matter, and
// is taken out again.
type Namesake struct{ Chains []string }

func (e *Namesake) Error() string {
	return fmt.Sprintf("the nftables table inet %[1]s is somebody else's, with chains %[2]s: give it another name where it is made, and: nft delete table inet %[1]s",
		tableName, strings.Join(e.Chains, ", "))
}

// namesake returns a [*Namesake] when there is one. Ours, whatever somebody did
// to it, is known by a chain; a table without any filters nothing, and can be
// taken over.
func (k *kernel) namesake() error {
	replies, err := k.askNFT(unix.NFT_MSG_GETCHAIN, unix.NLM_F_DUMP, unix.NFT_MSG_NEWCHAIN)
	if err != nil {
		return err
	}
	var chains []string
	for _, b := range replies {
		var table, name string
		for t, v := range attributes(b) {
			switch t {
			case unix.NFTA_CHAIN_TABLE:
				table = text(v)
			case unix.NFTA_CHAIN_NAME:
				name = text(v)
			}
		}
		if table == tableName {
			chains = append(chains, name)
		}
	}
	if len(chains) == 0 || slices.Contains(chains, peopleChain) || slices.Contains(chains, aroundChain) {
		return nil
	}
	slices.Sort(chains)
	return &Namesake{chains}
}

// GuardByRouting closes what it can without nftables, where [Guard] finds a
// [Namesake]: the ip rules prohibit the way to the protected prefixes.
func GuardByRouting(c Config) error {
	c, err := c.checked()
	if err != nil {
		return err
	}
	k, err := openKernel()
	if err != nil {
		return err
	}
	defer k.close()
	have, others, err := k.ipRules()
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range missing(ahead(desired(c, nil).ipRules, others), have) {
		errs = append(errs, k.addIPRule(r))
	}
	return errors.Join(errs...)
}
