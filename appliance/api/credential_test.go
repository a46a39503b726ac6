package api

import "context"

func (s *stub) Credentials(ctx context.Context, f CredentialFilter) ([]Credential, error) {
	return nil, s.saw(ctx, "Credentials", f)
}
func (s *stub) AddCredential(ctx context.Context, n NewCredential) (Credential, error) {
	return Credential{}, s.saw(ctx, "AddCredential", n, string(n.Secret))
}
func (s *stub) RemoveCredential(ctx context.Context, id string) (Credential, error) {
	return Credential{}, s.saw(ctx, "RemoveCredential", id)
}
func (s *stub) PersonKeys(ctx context.Context, f CredentialFilter) ([]PersonKey, error) {
	return nil, s.saw(ctx, "PersonKeys", f)
}
func (s *stub) AddPersonKey(ctx context.Context, p string, k NewPersonKey) (PersonKey, error) {
	return PersonKey{}, s.saw(ctx, "AddPersonKey", p, k)
}
func (s *stub) RemovePersonKey(ctx context.Context, id string) (PersonKey, error) {
	return PersonKey{}, s.saw(ctx, "RemovePersonKey", id)
}
func (s *stub) UserCA(ctx context.Context) ([]UserCA, error) { return nil, s.saw(ctx, "UserCA") }
func (s *stub) MakeUserCA(ctx context.Context, n NewUserCA) ([]UserCA, error) {
	return nil, s.saw(ctx, "MakeUserCA", n)
}
func (s *stub) ServerLogins(ctx context.Context) ([]ServerLogin, error) {
	return nil, s.saw(ctx, "ServerLogins")
}
func (s *stub) SetTrustsUserCA(ctx context.Context, v string, a Allowance) (ServerLogin, error) {
	return ServerLogin{}, s.saw(ctx, "SetTrustsUserCA", v, a)
}
func (s *stub) SetEnrolling(ctx context.Context, v string, a Allowance) (ServerLogin, error) {
	return ServerLogin{}, s.saw(ctx, "SetEnrolling", v, a)
}
func (s *stub) Enrolments(ctx context.Context, f CredentialFilter) ([]Enrolment, error) {
	return nil, s.saw(ctx, "Enrolments", f)
}
func (s *stub) Unenroll(ctx context.Context, u Unenrolment) ([]Enrolment, error) {
	return nil, s.saw(ctx, "Unenroll", u)
}
