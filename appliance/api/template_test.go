package api

import "context"

func (s *stub) Templates(ctx context.Context) ([]Template, error) {
	return []Template{}, s.saw(ctx, "Templates")
}
func (s *stub) Template(ctx context.Context, name string) (Template, error) {
	return Template{}, s.saw(ctx, "Template", name)
}
func (s *stub) CreateTemplate(ctx context.Context, t NewTemplate) (Template, error) {
	return Template{}, s.saw(ctx, "CreateTemplate", t)
}
func (s *stub) RemoveTemplate(ctx context.Context, name string) (Template, error) {
	return Template{}, s.saw(ctx, "RemoveTemplate", name)
}
