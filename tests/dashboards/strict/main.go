// Reads dashboards with Grafana's own types, strictly: a key that Grafana does not know, in a panel's options as well, is an
// error. It is a program in Go, for only Go's types of the Foundation SDK can be strict.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	failed := len(os.Args) == 1
	for _, path := range os.Args[1:] {
		text, err := os.ReadFile(path)
		if err != nil {
			fmt.Println(err)
			failed = true
			continue
		}
		var board dashboard.Dashboard
		// What it returns for a good file is an empty error rather than none.
		if err := board.UnmarshalJSONStrict(text); err != nil && err.Error() != "" {
			fmt.Printf("%s: %v\n", path, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
	fmt.Printf("strict: %d dashboards are what Grafana's types say\n", len(os.Args)-1)
}
