package appliance

import (
	"context"

	"github.com/pawelmojski/inside/appliance/api"
)

func (h *House) SetServerGraphics(ctx context.Context, name string, g api.Graphics) (api.Server, error) {
	v, err := h.serverNamed(name)
	if err != nil {
		return api.Server{}, err
	}
	look := "inside server show " + v.Name
	if err := versionGiven(g.Version, look); err != nil {
		return api.Server{}, err
	}
	native, err := nativeGraphics(g.RDPGraphics)
	if g.RDPGraphics == "" {
		err = invalid("", "the graphics of RDP are missing: native or bitmaps")
	}
	if err != nil {
		return api.Server{}, err
	}
	if err := h.Store.SetServerGraphics(ctx, api.By(ctx), v.ID, g.Version, native); err != nil {
		return api.Server{}, asProblem(err, look)
	}
	if err := h.acted(ctx); err != nil {
		return api.Server{}, err
	}
	return h.Server(ctx, v.Name)
}

func nativeGraphics(word string) (bool, error) {
	switch word {
	case api.GraphicsNative:
		return true, nil
	case api.GraphicsBitmaps, "":
		return false, nil
	}
	return false, invalid("", "%.40q are no graphics of RDP: use native or bitmaps", word)
}

// graphicsOf says what a server draws with.
func graphicsOf(native bool) string {
	if native {
		return api.GraphicsNative
	}
	return api.GraphicsBitmaps
}
