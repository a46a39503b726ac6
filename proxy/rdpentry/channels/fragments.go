package channels

// Fragments of one direction of a dynamic channel whose messages are looked
// into.
type fragments struct {
	whole []byte
	total int
	open  bool
}

func (f *fragments) add(p dynPDU, limit int) (msg []byte, ok bool, err error) {
	switch {
	case p.command == dynDataFirst && f.open:
		return nil, false, malformed("a message on dynamic channel %d begins within another", p.id)
	case p.command == dynDataFirst:
		if int64(p.length) > int64(limit) {
			return nil, false, malformed("a message of %d bytes on dynamic channel %d", p.length, p.id)
		}
		f.total, f.open, f.whole = int(p.length), true, f.whole[:0]
	case !f.open:
		if len(p.rest) > limit {
			return nil, false, malformed("a message of %d bytes on dynamic channel %d", len(p.rest), p.id)
		}
		return p.rest, true, nil
	}
	if len(f.whole)+len(p.rest) > f.total {
		return nil, false, malformed("%d bytes of a message of %d on dynamic channel %d", len(f.whole)+len(p.rest), f.total, p.id)
	}
	f.whole = append(f.whole, p.rest...)
	if len(f.whole) < f.total {
		return nil, false, nil
	}
	msg, f.open = f.whole, false
	if cap(f.whole) > kept {
		f.whole = nil
	}
	return msg, true, nil
}

// dynPDUs cuts a message of a dynamic channel into PDUs of at most chunkLen.
func dynPDUs(id uint32, msg []byte) [][]byte {
	head := func(command byte) []byte {
		b, size := appendNumber(make([]byte, 1, chunkLen), id)
		b[0] = command<<4 | size
		return b
	}
	b := head(dynData)
	if len(b)+len(msg) <= chunkLen {
		return [][]byte{append(b, msg...)}
	}
	first := head(dynDataFirst)
	first, size := appendNumber(first, uint32(len(msg)))
	first[0] |= size << 2
	var pdus [][]byte
	for b = first; len(msg) > 0; b = head(dynData) {
		n := min(len(msg), chunkLen-len(b))
		pdus = append(pdus, append(b, msg[:n]...))
		msg = msg[n:]
	}
	return pdus
}
