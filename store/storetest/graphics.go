package storetest

import "github.com/pawelmojski/inside/store"

var graphics = []proof{
	{"a server's graphics are set and set back", func(s *subject) {
		v := s.server("win", "10.30.0.1/32")
		if s.facts().Servers[0].NativeGraphics {
			s.Error("a server begins with native graphics")
		}
		s.changed("server.graphics", "server win", "bitmaps → native", func() error {
			return s.SetServerGraphics(s.ctx, by, v.ID, s.seen(), true)
		})
		if !s.facts().Servers[0].NativeGraphics {
			s.Error("native graphics are not among the facts")
		}
		s.unchanged(func() {
			s.check(s.SetServerGraphics(s.ctx, by, v.ID, s.seen(), true))
			s.refused(s.SetServerGraphics(s.ctx, by, v.ID, v.Version, false), store.ErrConflict, "server win has changed")
			s.refused(s.SetServerGraphics(s.ctx, by, "none", s.seen(), true), store.ErrNotFound, "none")
		})
		s.changed("server.graphics", "server win", "native → bitmaps", func() error {
			return s.SetServerGraphics(s.ctx, by, v.ID, s.seen(), false)
		})
	}},
}
