package appliance

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/pawelmojski/inside/appliance/api"
)

// News are those of this gate. What another gate does is heard there, but for
// changes of the facts, which come to all.
func (h *House) News(ctx context.Context, f api.NewsFilter) (iter.Seq2[api.News, error], error) {
	var kinds []string
	if f.Kinds != "" {
		kinds = strings.Split(f.Kinds, ",")
	}
	for _, k := range kinds {
		if !slices.Contains(api.NewsKinds, k) {
			return nil, invalid("", "there is no kind of news %.40q: kinds are %s", k, strings.Join(api.NewsKinds, ", "))
		}
	}
	news := h.Bus.Listen(ctx, f.After, kinds)
	return func(yield func(api.News, error) bool) {
		for n := range news {
			if !yield(n, nil) {
				return
			}
		}
	}, nil
}
