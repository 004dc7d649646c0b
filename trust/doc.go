// Package trust is who a peer is and whether this machine has anything to do with it: identities, the encrypted channel,
// the list of peers that are known, and pairing by a code. It knows no job and no protocol above the channel.
//
// # Identities
//
// A machine (or, for others than root, a user) has one Ed25519 key. A peer's [Key] is the SHA-256 of its public key
// in the form SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7, DER), shown as "SHA256:" and base64, as ssh shows it. Names, addresses
// and what discovery says are no identity.
//
// # The channel
//
// TLS 1.3 (RFC 8446) with a self-signed certificate on both sides, of which the key alone counts: names, dates and issuers say nothing. There
// are no session tickets and no early data, so that nothing recorded can be played again.
package trust
