// Package hubtest runs the real pushhub binary, and the clients of other
// authors, for the integration tests. It owns processes, their ports, their
// directories and the waiting for what they say. It must never import the hub's
// own packages: what it knows of a hub is what any user of the binary can see.
package hubtest
