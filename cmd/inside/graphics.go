package main

import (
	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

// serverGraphics is `inside server graphics`.
func (c *cli) serverGraphics() *cobra.Command {
	return &cobra.Command{
		Use: "graphics NAME bitmaps|native", Short: "say what a server draws with over RDP", Args: args(2, 2),
		Long: `With bitmaps, which is how every server begins, a server draws what the gate
decodes: everything can be watched live and becomes part of a video. With native
its graphics pipeline (MS-RDPEGFX) passes: servers that insist on it are
reached, and video plays better. All of it is recorded. A video shows H.264
(AVC420), plain and planar pixels, and says in words where it cannot show
something yet (ClearCodec, RemoteFX); the live view says so of H.264, too.
It counts for sessions that begin from now on.`,
		ValidArgsFunction: c.complete(c.serverNames, fixed(api.GraphicsBitmaps, api.GraphicsNative)),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.house().Server(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			s, err = c.house().SetServerGraphics(cmd.Context(), s.Name, api.Graphics{Version: s.Version, RDPGraphics: args[1]})
			if err != nil {
				return err
			}
			return c.say(s, nil, "rdp graphics of server %s: %s, in sessions that begin from now on", s.Name, s.RDPGraphics)
		},
	}
}
