package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Audit is the trail of who changed and who looked at what, as evidence.
type Audit interface {
	AuditRows(ctx context.Context, f AuditFilter) ([]Change, error)
	// AuditHead signs the head of the trail as it is now. Keep it elsewhere:
	// whoever has it can prove what was rewritten since.
	AuditHead(ctx context.Context) (AuditHead, error)
	// VerifyAudit reads the whole record and tells how far it has come, an
	// AuditReport a line, to the last one, which is marked so.
	VerifyAudit(ctx context.Context, q AuditQuestion) (io.ReadCloser, error)
}

// A Change is one line of the audit trail. Before and After are the thing as
// it was and as it became, none where there was or is nothing.
type Change struct {
	ID     int64           `json:"id"`
	Time   time.Time       `json:"time"`
	By     string          `json:"by"`
	Action string          `json:"action"`
	Object string          `json:"object"`
	Detail string          `json:"detail,omitempty"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	Link   int64           `json:"link"` // its place in the chain of audit rows and entries
	Hash   string          `json:"hash"` // of this link, over all before it
}

// AuditFilter limits a list of audit rows.
type AuditFilter struct {
	By     string    `query:"by"`
	Action string    `query:"action"` // "grant.revoke", or "grant" for all that begin so
	Object string    `query:"object"` // "grant 42"
	From   time.Time `query:"from"`
	To     time.Time `query:"to"`     // exclusive
	Before int       `query:"before"` // only rows older than the one with this id
	Limit  int       `query:"limit"`  // 0: 100
}

// An AuditHead is the newest link of the chain at a moment, signed by a gate
// with its ed25519 key.
type AuditHead struct {
	Gate      string    `json:"gate"`
	Link      int64     `json:"link"`
	Hash      string    `json:"hash"`
	Time      time.Time `json:"time"`
	Signer    string    `json:"signer"`    // public key, base64
	Signature string    `json:"signature"` // base64
}

// AuditQuestion says what to verify beside the trail itself.
type AuditQuestion struct {
	Recordings bool   `query:"recordings"` // the files of this gate against their seals
	Head       string `query:"head"`       // an AuditHead as JSON, kept elsewhere until now
}

// An AuditReport is how far a verification has come, and what it has found.
type AuditReport struct {
	Links      int64         `json:"links"` // that are good
	Audits     int64         `json:"audits"`
	Entries    int64         `json:"entries"`
	Heads      int64         `json:"heads"`                // signatures
	Signed     int64         `json:"signed"`               // the newest link that is signed
	Hash       string        `json:"hash,omitempty"`       // of the last link
	Time       time.Time     `json:"time,omitzero"`        // of the last record
	Sealed     int64         `json:"sealed"`               // sessions whose recordings are sealed
	Recordings int64         `json:"recordings,omitempty"` // sessions whose files were read
	Removed    int64         `json:"removed,omitempty"`    // sessions whose files were, as the record says
	Broken     *BrokenRecord `json:"broken,omitempty"`
	Done       bool          `json:"done,omitempty"`
}

// A BrokenRecord is one that is not what was written.
type BrokenRecord struct {
	Link   int64  `json:"link"`
	Record string `json:"record"` // "audit row 17", "2026/01/31/…/0.cast"
	What   string `json:"what"`
	Text   string `json:"text"` // all of it in one line
}

var auditRoutes = []route{
	{"GET", "/audit", toLook, ask(func(h House, r *http.Request, f AuditFilter) ([]Change, error) {
		return h.AuditRows(r.Context(), f)
	})},
	{"GET", "/audit/head", toLook, ask(func(h House, r *http.Request, _ none) (AuditHead, error) {
		return h.AuditHead(r.Context())
	})},
	{"GET", "/audit/verify", toLook, stream("application/jsonl", func(h House, r *http.Request, q AuditQuestion) (io.ReadCloser, error) {
		return h.VerifyAudit(r.Context(), q)
	})},
}

func (c *Client) AuditRows(ctx context.Context, f AuditFilter) ([]Change, error) {
	return get[[]Change](ctx, c, path("audit"), f)
}

func (c *Client) AuditHead(ctx context.Context) (AuditHead, error) {
	return get[AuditHead](ctx, c, path("audit", "head"), none{})
}

func (c *Client) VerifyAudit(ctx context.Context, q AuditQuestion) (io.ReadCloser, error) {
	return c.do(ctx, "GET", withQuery(path("audit", "verify"), q), nil)
}

// Reports reads what VerifyAudit tells; the last one is done.
func Reports(body io.Reader, each func(AuditReport) error) error {
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the verification broke off: the gate or its database went away; ask again")
		}
		if err != nil {
			return err
		}
		var r AuditReport
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("the gate's report: %w", err)
		}
		if err := each(r); err != nil || r.Done {
			return err
		}
	}
}
