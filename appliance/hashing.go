package appliance

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/pawelmojski/inside/appliance/api"
)

// Passwords are kept by argon2id with the second of the choices that RFC 9106
// recommends (4): 3 passes over 64 MiB in 4 lanes, 128 bits of salt, 256 of
// tag. A gate is no place for the first, which takes 2 GiB.
const (
	argonTime   = 3
	argonMemory = 64 << 10 // KiB
	argonLanes  = 4
	argonSalt   = 16
	argonTag    = 32

	hashesAtOnce  = 2  // 128 MiB at most, however many guess
	hashesWaiting = 16 // and no more callers than these
)

var argonHead = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, argonMemory, argonTime, argonLanes)

// The memory is the process's: all who hash take turns.
var (
	hashing        = make(chan struct{}, hashesAtOnce)
	waitingForHash = make(chan struct{}, hashesWaiting)
)

func argonText(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// turnToHash waits until there is memory for one more.
func turnToHash(ctx context.Context) (done func(), err error) {
	select {
	case waitingForHash <- struct{}{}:
		defer func() { <-waitingForHash }()
	default:
		return nil, api.NewProblem(api.CodeTooMany, "many passwords are being checked at the moment", "try again in a few seconds")
	}
	select {
	case hashing <- struct{}{}:
		return func() { <-hashing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hashPassword is what is kept of a password.
func hashPassword(ctx context.Context, password []byte) (string, error) {
	done, err := turnToHash(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	salt := make([]byte, argonSalt)
	rand.Read(salt) // never fails: crypto/rand
	tag := argon2.IDKey(password, salt, argonTime, argonMemory, argonLanes, argonTag)
	return argonHead + argonText(salt) + "$" + argonText(tag), nil
}

// isPassword reports whether a password is the one that a text was made of. It takes
// as long for a text that is none ("": somebody unknown).
func isPassword(ctx context.Context, kept string, password []byte) (bool, error) {
	done, err := turnToHash(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	salt, tag, known := argonParts(kept)
	if !known {
		salt, tag = make([]byte, argonSalt), make([]byte, argonTag)
	}
	got := argon2.IDKey(password, salt, argonTime, argonMemory, argonLanes, argonTag)
	return subtle.ConstantTimeCompare(got, tag) == 1 && known, nil
}

// argonParts takes what was kept apart. There are no other parameters than
// ours: who changes them here says what becomes of the old ones.
func argonParts(kept string) (salt, tag []byte, ok bool) {
	rest, ours := strings.CutPrefix(kept, argonHead)
	first, second, two := strings.Cut(rest, "$")
	salt, err := base64.RawStdEncoding.DecodeString(first)
	if err != nil || !ours || !two || len(salt) != argonSalt {
		return nil, nil, false
	}
	tag, err = base64.RawStdEncoding.DecodeString(second)
	return salt, tag, err == nil && len(tag) == argonTag
}
