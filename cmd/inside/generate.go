package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// generateCommand makes what the package ships about the command. It is for
// the build, so nobody is shown it.
func (c *cli) generateCommand() *cobra.Command {
	generate := &cobra.Command{Use: "generate", Hidden: true, Args: noSuchCommand}
	generate.AddCommand(&cobra.Command{
		Use:  "man FOLDER",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true // the date of the build is nobody's business
			// The date on the pages is SOURCE_DATE_EPOCH.
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "Inside", Manual: "Inside"}, args[0])
		},
	})
	return generate
}
