package api

import "context"

func (s *stub) ServerCertificate(ctx context.Context, v string, f HostKeyFilter) (ServerCertificate, error) {
	return ServerCertificate{}, s.saw(ctx, "ServerCertificate", v, f)
}
func (s *stub) ImportCertificate(ctx context.Context, v string, c ImportedCertificate) (ServerCertificate, error) {
	return ServerCertificate{}, s.saw(ctx, "ImportCertificate", v, c, string(c.PrivateKey))
}
func (s *stub) TrustCertificate(ctx context.Context, v string, c TrustedCertificate) (ServerCertificate, error) {
	return ServerCertificate{}, s.saw(ctx, "TrustCertificate", v, c)
}
func (s *stub) ForgetCertificate(ctx context.Context, v string, c ForgottenCertificate) (ServerCertificate, error) {
	return ServerCertificate{}, s.saw(ctx, "ForgetCertificate", v, c)
}
func (s *stub) RDPAuthority(ctx context.Context) (ShownCertificate, error) {
	return ShownCertificate{}, s.saw(ctx, "RDPAuthority")
}
