package main

import "github.com/pawelmojski/inside/appliance/api"

var (
	allStays     = api.StayFilter{All: true, Limit: 10_000}
	everySession = api.SessionFilter{All: true, Limit: 100_000}
)
