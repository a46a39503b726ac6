package store

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/base64"
	"errors"
	"time"
)

// A Head is the newest link of the chain at a moment, signed by a gate. By it
// anybody who has kept it elsewhere can tell that no record up to there was
// changed or taken away since, also where all hashes were made anew.
type Head struct {
	Gate      string    `json:"gate"`
	Link      int64     `json:"link"`
	Hash      string    `json:"hash"`
	Time      time.Time `json:"time"`
	Signer    string    `json:"signer"`    // the gate's public key, base64
	Signature string    `json:"signature"` // base64
}

const headColumns = "link, gate, at, hash, signer, signature"

// Sign signs the head.
func (h *Head) Sign(key ed25519.PrivateKey) {
	h.Time = kept(h.Time)
	h.Signer = base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	h.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, h.signed()))
}

// Check reports whether the signature is that of the signer the head names.
func (h Head) Check() bool {
	key, err := base64.StdEncoding.DecodeString(h.Signer)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return false
	}
	signature, err := base64.StdEncoding.DecodeString(h.Signature)
	return err == nil && ed25519.Verify(key, h.signed(), signature)
}

func (h Head) signed() []byte {
	return framed("inside head 1", h.Gate, h.Link, h.Hash, micros(h.Time), h.Signer)
}

// ErrRewritten says that the chain is not the one that was signed before.
var ErrRewritten = errors.New("the audit trail is not the one that was signed before")

// SignHead signs the newest link, if there is one since the head last, which
// must still be in the chain (else ErrRewritten). It reports whether there was
// something to sign. A zero last is none.
func (s *Store) SignHead(ctx context.Context, last Head, gate string, key ed25519.PrivateKey, now time.Time) (h Head, signed bool, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		newest, err := one(ctx, tx, readChainHead, ErrRewritten, chainHeadQuery)
		if err != nil {
			return err
		}
		if newest.link == last.Link && newest.hash == last.Hash {
			return nil
		}
		if last.Link > 0 {
			hash, err := one(ctx, tx, text, ErrRewritten, linkHashQuery, last.Link)
			if err != nil {
				return err
			}
			if hash != last.Hash {
				return ErrRewritten
			}
		}
		h = Head{Gate: gate, Link: newest.link, Hash: newest.hash, Time: now}
		h.Sign(key)
		signed = true
		return nil
	})
	if err != nil || !signed {
		return Head{}, false, err
	}
	err = s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO heads ("+headColumns+") VALUES ($1, $2, $3, $4, $5, $6)",
			h.Link, h.Gate, micros(h.Time), h.Hash, h.Signer, h.Signature)
		return err
	})
	return h, err == nil, err
}

const linkHashQuery = "SELECT hash FROM audit WHERE link = $1 UNION ALL SELECT hash FROM entries WHERE link = $1"

// LastHead is the newest head that a gate has signed, or ErrNotFound.
func (s *Store) LastHead(ctx context.Context, gate string) (h Head, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		h, err = one(ctx, tx, readHead, refuse(ErrNotFound, "the gate %s has signed nothing yet", gate),
			"SELECT "+headColumns+" FROM heads WHERE gate = $1 ORDER BY link DESC LIMIT 1", gate)
		return err
	})
	return h, err
}

func readHead(r row) (h Head, err error) {
	var at int64
	err = r.Scan(&h.Link, &h.Gate, &at, &h.Hash, &h.Signer, &h.Signature)
	h.Time = moment(at)
	return h, err
}

// A keyFact is a gate's public key, as it is written down when the gate first
// uses it.
type keyFact struct {
	Gate string `json:"gate"`
	Key  string `json:"key"` // base64
}

const actionGateKey = "gate.key"

// RegisterKey writes down that a gate signs with this key, unless that is
// known already.
func (s *Store) RegisterKey(ctx context.Context, gate string, key ed25519.PublicKey) error {
	fact := keyFact{Gate: gate, Key: base64.StdEncoding.EncodeToString(key)}
	return s.AuditState(ctx, gateActor(gate), actionGateKey, "gate "+gate, "signs with "+fact.Key, fact)
}
