// Package web is the house as its admins see it in a browser: pages that are
// made on the gate, with a little script on top for what moves.
//
// It decides nothing, stores nothing and asks nobody but the API, in the name
// of who is signed in: what a page shows and does is what the same role may ask
// for by a token (see [api.NewLocalClient]). Every page works without scripts,
// but for the players of recordings. Package appliance makes the pages and
// says who signs in; package api serves them on the port.
package web
