// Package framer splits the byte stream of an XMPP client into its parts: the
// stream header, each first-level element (a stanza) as a slice of the very
// bytes that arrived, and the closing tag. It also reads such slices: names,
// namespaces, attributes and children, without building a tree.
//
// A stanza that Framer yields is well-formed XML 1.0 with Namespaces within the
// restrictions of RFC 6120 §11.1, uses no prefix that its own tags do not
// declare, and stays within the limits of size, depth and attributes. So its
// bytes may be copied to other streams as they are.
//
// The package never reads, writes, waits or logs, keeps no bytes of the caller
// beyond the names that the stream header declared, and never judges who may
// send what: addresses, stanza semantics and the content namespace are the
// caller's concern.
package framer
