package rdpentry

import (
	"errors"
	"fmt"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

var errLicense = errors.New("the server insists on a license of the client's, which cannot be shown after the gate's sign-in form: have the client send the password, such as /p: of xfreerdp")

// downLicense passes licensing on. Where the sign-in form was shown the client
// has long been told that it needs none, and the gate answers for it: it has
// no license. xrdp asks everybody and lets them in whatever they say; a server
// that means it hangs up.
func (f *flow) downLicense(data []byte) error {
	if !f.licensed {
		f.licensing = true
		return f.showOn(clientIO, data)
	}
	_, rest, err := wire.ParseSecurity(data)
	if err != nil {
		return err
	}
	switch valid, wanted := wire.ParseLicense(rest); {
	case valid:
		return nil
	case wanted && !f.licensing:
		f.licensing = true
		return f.sent(f.toServer(f.serverIO, wire.NoLicense()))
	}
	return lacksLicense()
}

func lacksLicense() error {
	return &lastPage{errLicense, []string{fmt.Sprintf("Inside: %s.", errLicense)}}
}

// unlicensed is the end of a session whose server has heard that there is no
// license and left before there was a desktop.
func (f *flow) unlicensed(err error) error {
	if f.licensed && f.licensing && !f.desktop.begun.Load() && errors.Is(err, policy.ServerLeft) {
		return lacksLicense()
	}
	return err
}
