package main

import (
	"encoding/binary"
	"io"
	"time"
)

// A matroska writes frames with their times to ffmpeg: a raw stream has no
// times, and a video of an idle hour must not have an hour of frames. Elements
// are those of RFC 9559; the sizes of segment and stream are left open.
type matroska struct {
	w    io.Writer
	head []byte
}

// element appends an element with these contents.
func element(dst []byte, id uint32, contents ...byte) []byte {
	dst = elementID(dst, id)
	dst = binary.BigEndian.AppendUint64(dst, 1<<56|uint64(len(contents)))
	return append(dst, contents...)
}

func elementID(dst []byte, id uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, id)
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return append(dst, b...)
}

func number(id uint32, v uint64) []byte {
	return element(nil, id, binary.BigEndian.AppendUint64(nil, v)...)
}

func text(id uint32, s string) []byte { return element(nil, id, []byte(s)...) }

func joined(id uint32, parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return element(nil, id, all...)
}

// begin writes what comes before the frames, of I420 and this size. last is how
// long the last one stands.
func (m *matroska) begin(w, h int, last time.Duration) error {
	return m.header(w, h, last, "V_UNCOMPRESSED", text(0x2eb524, "I420"))
}

// h264 does the same for pictures of H.264.
func (m *matroska) h264(w, h int) error {
	return m.header(w, h, time.Millisecond, "V_MPEG4/ISO/AVC", nil)
}

// header writes head and the one track.
func (m *matroska) header(w, h int, last time.Duration, codec string, colours []byte) error {
	head := joined(0x1a45dfa3, number(0x4286, 1), number(0x42f7, 1), number(0x42f2, 4), number(0x42f3, 8),
		text(0x4282, "matroska"), number(0x4287, 4), number(0x4285, 2))
	head = append(elementID(head, 0x18538067), 1, 255, 255, 255, 255, 255, 255, 255)
	head = append(head, joined(0x1549a966, number(0x2ad7b1, uint64(time.Millisecond)), text(0x4d80, "inside-render"), text(0x5741, "inside-render"))...)
	video := joined(0xe0, number(0xb0, uint64(w)), number(0xba, uint64(h)), colours)
	head = append(head, joined(0x1654ae6b, joined(0xae, number(0xd7, 1), number(0x73c5, 1), number(0x83, 1), number(0x23e383, uint64(last)), text(0x86, codec), video))...)
	_, err := m.w.Write(head)
	return err
}

// picture writes one picture, whose time is its number.
func (m *matroska) picture(number int, data []byte) error {
	return m.frame(time.Duration(number)*time.Millisecond, data)
}

// frame writes one frame as a cluster of its own.
func (m *matroska) frame(at time.Duration, data []byte) error {
	stamp := number(0xe7, uint64(at.Milliseconds()))
	block := append([]byte{0xa3}, binary.BigEndian.AppendUint64(nil, 1<<56|uint64(4+len(data)))...)
	block = append(block, 0x81, 0, 0, 0x80) // track 1, at the cluster's time, a keyframe
	m.head = elementID(m.head[:0], 0x1f43b675)
	m.head = binary.BigEndian.AppendUint64(m.head, 1<<56|uint64(len(stamp)+len(block)+len(data)))
	m.head = append(append(m.head, stamp...), block...)
	if _, err := m.w.Write(m.head); err != nil {
		return err
	}
	_, err := m.w.Write(data)
	return err
}
