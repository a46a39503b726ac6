// Package policy is the vocabulary of Inside and its one decision: may this
// flow enter now, by which grant, until when — and if not, why not.
//
// A [Person] is a real human being, known by [Address]es, or by an [Identity]. A [Server] is a
// backend, one address or a whole prefix. A [Group] gathers persons or
// servers and may hold other groups. A [Grant] lets somebody in somewhere for
// some time, perhaps only within the weekly windows of a [Schedule]. All of
// them together are the [Facts]; a [Book] is an immutable, indexed snapshot of
// facts that answers a [Flow] with a [Verdict].
//
// The package is pure: it imports the standard library only, does no input or
// output and reads no clock. Every function that depends on time takes the
// moment as an argument. The store fills the facts in, the appliance asks.
package policy
