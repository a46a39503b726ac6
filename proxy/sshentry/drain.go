package sshentry

import (
	"reflect"
	"unsafe"
)

// drainTransport frees the goroutines x/crypto/ssh keeps for a connection
// whose net.Conn has been closed.
//
// The library reads packets in one goroutine and hands them over through a
// channel of 16 (handshakeTransport.incoming). When a handshake fails, or the
// mux waits to write during a key exchange, nobody takes packets any more: a
// peer that has sent a few more than 16 leaves that goroutine, and the key
// exchange one behind it, blocked for ever, and closing the net.Conn does not
// wake it because it is not reading. One burst after a wrong service request
// would cost the gate two goroutines and their buffers per connection.
//
// The field is not exported, so it is reached by reflection. conn is what the
// library passes to callbacks or returns (*ssh.connection behind an
// interface); where the shape is another one, nothing is done, and
// TestABurstLeavesNothing fails.
func drainTransport(conn any) {
	v := reflect.ValueOf(conn)
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return
	}
	if inner := v.FieldByName("Conn"); inner.IsValid() && inner.Kind() == reflect.Interface {
		drainTransport(inner.Interface()) // *ssh.ServerConn embeds the connection
		return
	}
	transport := v.FieldByName("transport")
	for transport.IsValid() && (transport.Kind() == reflect.Interface || transport.Kind() == reflect.Pointer) {
		transport = transport.Elem()
	}
	if !transport.IsValid() || transport.Kind() != reflect.Struct {
		return
	}
	incoming := transport.FieldByName("incoming")
	if !incoming.IsValid() || incoming.Type() != reflect.TypeFor[chan []byte]() || !incoming.CanAddr() {
		return
	}
	for range *(*chan []byte)(unsafe.Pointer(incoming.UnsafeAddr())) {
	}
}
