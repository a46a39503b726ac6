package store_test

import (
	"testing"

	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

func TestPostgreSQL(t *testing.T) {
	storetest.Run(t, func(tb testing.TB) *store.Store { return storetest.Open(tb, storetest.Schema(tb)) })
}
