package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestATokenTravelsOnlyWhereItIsSafe(t *testing.T) {
	token := NewTokenText()
	for at, why := range map[string]string{
		"http://192.0.2.1:5000":             "in the clear",
		"http://gate.example.com":           "in the clear",
		"http://localhost.example.com:5000": "in the clear",
		"http://127.0.0.1.example.com":      "in the clear",
		"http://[2001:db8::1]:5000":         "in the clear",
		"ftp://127.0.0.1":                   "is not the URL",
		"127.0.0.1:5000":                    "is not the URL",
		"localhost":                         "is not the URL",
		"":                                  "is not the URL",
		"http://":                           "is not the URL",
		"http://127.0.0.1:port":             "is not the URL",
		"https://user:hunter2@gate.example": "nothing more",
		"https://gate.example/inside":       "nothing more",
		"https://gate.example?x=1":          "nothing more",
		"https://gate.example#x":            "nothing more",
	} {
		_, err := NewTokenClient(at, token)
		var p *Problem
		if !errors.As(err, &p) || p.Code != CodeInvalid || !strings.Contains(p.Detail, why) || strings.Contains(p.Detail+p.Hint, "hunter2") {
			t.Errorf("%q: %v", at, err)
		}
	}
	for _, at := range []string{"http://127.0.0.1:5000", "http://127.8.8.8", "http://[::1]:5000/", "http://localhost:5000", "https://gate.example.com:8443"} {
		if _, err := NewTokenClient(at, token); err != nil {
			t.Errorf("%q: %v", at, err)
		}
	}
	if _, err := NewTokenClient("http://127.0.0.1:5000", "hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("what is no token: %v", err)
	}
}

func TestATokenIsSentToNobodyElse(t *testing.T) {
	token := NewTokenText()
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer elsewhere.Close()
	redirecting := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer redirecting.Close()
	t.Setenv("HTTP_PROXY", elsewhere.URL)
	t.Setenv("http_proxy", elsewhere.URL)
	t.Setenv("HTTPS_PROXY", elsewhere.URL)
	client, err := NewTokenClient(redirecting.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Status(t.Context()); err == nil {
		t.Error("a redirection is an answer")
	}

	// A gate that cannot prove who it is gets no request.
	impostor := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer impostor.Close()
	impostor.Config.ErrorLog = nil
	client, err = NewTokenClient(impostor.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	var u *Unreachable
	if _, err := client.Status(t.Context()); !errors.As(err, &u) || u.Socket != impostor.URL || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an impostor: %v", err)
	}
	if asked.Load() != 0 {
		t.Error("the token went elsewhere")
	}
}
