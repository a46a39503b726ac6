// Package pages proves the pages in Debian's Chromium: a real daemon with real
// rules, real ssh through it, and a browser on the gateway. There is nothing
// here but tests.
package pages
