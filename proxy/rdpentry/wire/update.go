package wire

// The kinds of slow-path updates (MS-RDPBCGR 2.2.9.1.1.3).
const (
	UpdateOrders      = 0
	UpdateBitmap      = 1
	UpdatePalette     = 2
	UpdateSynchronize = 3
)

// The kinds of slow-path pointer updates (2.2.9.1.1.4).
const (
	PointerSystem = 1
	PointerMoved  = 3
	PointerColor  = 6
	PointerCached = 7
	PointerNew    = 8
	PointerLarge  = 9
)

// PointerHidden is what a PointerSystem update says of a pointer that is not
// shown; any other is the arrow.
const PointerHidden = 0

// UpdateKind reads the kind of a slow-path update. The update's own parser
// wants it, too: in fast-path it comes with the data.
func UpdateKind(b []byte) (int, error) {
	c := cursor{b: b}
	kind := int(c.u16())
	return kind, c.end("an update")
}

// ParsePointer splits a slow-path pointer update into its kind and the rest,
// which is what a fast-path update of the same kind holds.
func ParsePointer(b []byte) (kind int, rest []byte, err error) {
	c := cursor{b: b}
	kind = int(c.u16())
	c.skip(2)
	return kind, c.b, c.end("a pointer update")
}
