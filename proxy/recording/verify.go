package recording

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// A Summary is what the sidecar of a recording tells about it.
type Summary struct {
	Size      int64             // of the recording, as far as it is framed
	Frames    int               // how many
	Head      [sha256.Size]byte // of the hash chain: over all of the above and the end
	Ended     bool              // the recording was closed, by its writer or by Recover
	Recovered bool              // it was ended by Recover
	Reframed  int64             // from here on frames were only made by Recover; -1: none were
}

// Verify checks a recording called name against its sidecar. A *[Damage] names
// the first place where they differ; the summary then ends before it. Of a
// recording that is not ended, lines that have no frame yet are not checked.
//
// The chain proves that nothing was changed by somebody who could not also
// write the sidecar: keep Head elsewhere to rule that out.
func Verify(root *os.Root, name string) (Summary, error) {
	side, err := sidecarName(name)
	if err != nil {
		return Summary{}, err
	}
	cast, err := ondisk.Open(root, name, os.O_RDONLY)
	if err != nil {
		return Summary{}, fmt.Errorf("recording %s: %w", name, err)
	}
	defer cast.Close()
	idx, err := ondisk.Open(root, side, os.O_RDONLY)
	if err != nil {
		return Summary{}, fmt.Errorf("recording %s: %w", name, err)
	}
	defer idx.Close()
	// Of a recording that grows, the sidecar is looked at before the file, so
	// that the file has what the sidecar promises.
	w, err := walk(idx, cast)
	if err == nil && w.damage == nil && w.Ended {
		if info, e := cast.Stat(); e != nil {
			err = e
		} else if info.Size() > w.Size {
			w.damage = &Damage{Offset: w.Size, What: "there are bytes behind the end"}
		}
	}
	if err == nil && w.damage != nil {
		err = w.damage
	}
	if err != nil {
		return w.Summary, fmt.Errorf("recording %s: %w", name, err)
	}
	return w.Summary, nil
}

// A walked sidecar is good up to its summary.
type walked struct {
	Summary
	records int64   // good bytes of the sidecar
	damage  *Damage // what comes then
	changed bool    // the damage is in bytes of the recording that are there but differ
}

// walk reads a sidecar record by record and compares the recording with it.
// Only a failure to read is an error.
func walk(idx, cast io.Reader) (walked, error) {
	w := walked{Summary: Summary{Reframed: -1}}
	in := bufio.NewReaderSize(idx, 64*ondisk.RecordSize)
	var b [ondisk.RecordSize]byte
	if _, err := io.ReadFull(in, b[:]); err != nil || string(b[:len(sidecarHead)]) != sidecarHead {
		w.damage = &Damage{What: "the sidecar has no head"}
		return w, unlessShort(err)
	}
	w.records, w.Head = ondisk.RecordSize, sha256.Sum256(b[:])
	buf := frames.Get().(*[frameSize]byte)
	defer frames.Put(buf)
	for {
		if _, err := io.ReadFull(in, b[:]); err == io.EOF {
			return w, nil
		} else if err != nil {
			w.damage = &Damage{Offset: w.Size, What: "the sidecar ends in the middle of a record"}
			return w, unlessShort(err)
		}
		r, chain, ok := ondisk.ParseRecord(b[:])
		if what := w.misfit(r, ok); what != "" {
			w.damage = &Damage{Offset: w.Size, What: what}
			return w, nil
		}
		data := buf[:r.Length]
		if _, err := io.ReadFull(cast, data); err != nil {
			w.damage = &Damage{Offset: w.Size, What: "the recording is shorter than its sidecar says"}
			return w, unlessShort(err)
		}
		if crc32.Checksum(data, ondisk.Castagnoli) != r.Sum || r.Next(w.Head, data) != chain {
			w.damage, w.changed = &Damage{Offset: w.Size, What: "the bytes differ from what was written"}, true
			return w, nil
		}
		w.take(r, chain)
	}
}

// misfit says why r cannot be the next record.
func (w *walked) misfit(r ondisk.Record, ok bool) string {
	switch {
	case !ok:
		return "a record of the sidecar differs from what was written"
	case w.Ended:
		return "the sidecar goes on behind the end"
	case r.Offset != w.Size:
		return "records of the sidecar are missing or in another order"
	case ends(r):
		if r.Length != 0 {
			return "the end has a length"
		}
	case r.Kind != recordFrame && r.Kind != recordReframed:
		return "the sidecar has a record of an unknown kind"
	case r.Length == 0 || r.Length > frameSize:
		return "a frame has an impossible length"
	}
	return ""
}

// take adds a good record to the summary.
func (w *walked) take(r ondisk.Record, chain [sha256.Size]byte) {
	w.records += ondisk.RecordSize
	w.Head = chain
	switch {
	case ends(r):
		w.Ended, w.Recovered = true, r.Kind == recordRecovered
		return
	case r.Kind == recordReframed && w.Reframed < 0:
		w.Reframed = r.Offset
	}
	w.Frames++
	w.Size += int64(r.Length)
}

// unlessShort returns err unless it says that a file ended early, which is
// damage and not a failure to read.
func unlessShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}
