package api

import (
	"encoding/json"
	"time"
)

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
