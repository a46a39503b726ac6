package appliance

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// A Vault seals what the gate logs in with in people's names, so that neither
// the database nor a copy of it says anything. The key lies apart from it: a
// systemd credential (LoadCredentialEncrypted=inside.key) where there is one,
// else a file that only the daemon can read, made when it is first needed.
//
// What is sealed for one purpose opens for no other: everything that says
// whose it is and where it serves goes into the seal (AEAD associated data),
// so that rows of the database cannot be swapped.
type Vault struct {
	file string // of the state

	mu   sync.Mutex
	seal *seal // once the key was read
}

// A seal is the data key, ready for use.
type seal struct {
	aead cipher.AEAD
	id   [sealIDSize]byte // tells keys apart without saying anything of them
	from string           // the file it was read from
}

const (
	sealVersion = 1
	sealIDSize  = 4
	sealHead    = 1 + sealIDSize

	systemdName  = "inside.key"
	shortestKey  = 32
	longestKey   = 4096
	vaultKeyName = "credentials.key"
)

// OpenVault names where the data key lies when systemd does not hand it over.
// Nothing is read before it is needed: a gate without stored credentials needs
// none.
func OpenVault(keys string) *Vault { return &Vault{file: filepath.Join(keys, vaultKeyName)} }

// Seal closes a secret for the purpose that the words describe.
func (v *Vault) Seal(secret []byte, purpose ...string) ([]byte, error) {
	s, err := v.key(true)
	if err != nil {
		return nil, err
	}
	sealed := append([]byte{sealVersion}, s.id[:]...)
	return s.aead.Seal(sealed, nil, secret, associated(purpose)), nil
}

// Open opens what was sealed for the same purpose with the same key.
func (v *Vault) Open(sealed []byte, purpose ...string) ([]byte, error) {
	if len(sealed) < sealHead || sealed[0] != sealVersion {
		return nil, errors.New("it is not sealed as this program seals")
	}
	s, err := v.key(false)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(sealed[1:sealHead], s.id[:]) {
		return nil, fmt.Errorf("it was sealed with another key than the one in %s: put the right one there and restart insided, or remove the credential and add it again", s.from)
	}
	secret, err := s.aead.Open(nil, nil, sealed[sealHead:], associated(purpose))
	if err != nil {
		return nil, errors.New("the seal is broken: the row in the database was changed, or belongs elsewhere; remove the credential and add it again")
	}
	return secret, nil
}

// Check reports whether the data key can be read.
func (v *Vault) Check() error {
	_, err := v.key(false)
	return err
}

// associated writes the words so that no two lists of them read the same.
func associated(purpose []string) []byte {
	var b []byte
	for _, word := range purpose {
		b = binary.BigEndian.AppendUint32(b, uint32(len(word)))
		b = append(b, word...)
	}
	return b
}

// key reads the data key; where there is none yet it is made, if it may be.
func (v *Vault) key(mayMake bool) (*seal, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seal != nil {
		return v.seal, nil
	}
	text, from, err := v.read(mayMake)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	v.seal, err = newSeal(text, from)
	return v.seal, err
}

func newSeal(text []byte, from string) (*seal, error) {
	derived, err := hkdf.Key(sha256.New, text, nil, "inside credentials 1", 32+sealIDSize)
	if err != nil {
		return nil, err
	}
	defer clear(derived)
	block, err := aes.NewCipher(derived[:32])
	if err != nil {
		return nil, err
	}
	// 2^32 messages may be sealed with random nonces; there is one for each
	// credential an admin adds.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	s := &seal{aead: aead, from: from}
	copy(s.id[:], derived[32:])
	return s, nil
}

func (v *Vault) read(mayMake bool) (text []byte, from string, err error) {
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		from = filepath.Join(dir, systemdName)
		// systemd gives access by an ACL, whose mask shows as the group's bits.
		text, err = readSecretFile(from, 0o007)
		if !errors.Is(err, fs.ErrNotExist) {
			return text, from, err
		}
	}
	text, err = readSecretFile(v.file, 0o077)
	if errors.Is(err, fs.ErrNotExist) && mayMake {
		if err = v.make(); err == nil {
			text, err = readSecretFile(v.file, 0o077)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("the key %s is missing: bring it back from a backup, or from another gate of the same database, or remove the credentials and add them again", v.file)
	}
	return text, v.file, err
}

// make writes a new key beside its place and links it there, so that there is
// a whole key or none, and never a second one.
func (v *Vault) make() error {
	if err := os.MkdirAll(filepath.Dir(v.file), 0o700); err != nil {
		return fmt.Errorf("key of the credentials: %w", err)
	}
	fresh, err := os.CreateTemp(filepath.Dir(v.file), vaultKeyName+".new-") // 0600
	if err != nil {
		return fmt.Errorf("key of the credentials: %w", err)
	}
	defer os.Remove(fresh.Name())
	key := make([]byte, shortestKey)
	rand.Read(key)
	defer clear(key)
	_, err = fresh.Write(key)
	if err = errors.Join(err, fresh.Sync(), fresh.Close()); err != nil {
		return fmt.Errorf("key of the credentials: %w", err)
	}
	if err := os.Link(fresh.Name(), v.file); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("key of the credentials: %w", err)
	}
	return nil
}

// readSecretFile reads a file that nobody else may read.
func readSecretFile(name string, forbidden fs.FileMode) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("key of the credentials: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("key of the credentials: %w", err)
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("key of the credentials: %s is not a file", name)
	case st.Mode().Perm()&forbidden != 0:
		return nil, fmt.Errorf("key of the credentials: others may read %s (mode %04o): chmod 0600 it, and add every stored credential again if somebody has read it", name, st.Mode().Perm())
	case st.Size() < shortestKey || st.Size() > longestKey:
		return nil, fmt.Errorf("key of the credentials: %s has %d bytes, want %d to %d random ones", name, st.Size(), shortestKey, longestKey)
	}
	text := make([]byte, st.Size())
	if _, err := io.ReadFull(f, text); err != nil {
		return nil, fmt.Errorf("key of the credentials: %s: %w", name, err)
	}
	return text, nil
}
