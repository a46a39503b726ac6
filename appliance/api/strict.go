package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// unmarshalStrict decodes exactly one JSON value and refuses fields it does
// not know: a misspelt "permanant" must not be a shorter grant in silence.
func unmarshalStrict(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("empty")
		}
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}
