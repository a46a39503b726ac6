package credssp

import "io"

// Version asks a server, over TLS, which version of CredSSP it speaks: it
// begins to log in and goes no further than the server's challenge, so that
// nobody's password is needed and none is tried.
func Version(conn io.ReadWriter) (int, error) {
	if err := send(conn, tsRequest{NegoTokens: []negoToken{{negotiateMessage()}}}); err != nil {
		return 0, err
	}
	answer, err := receive(conn)
	return answer.Version, err
}
