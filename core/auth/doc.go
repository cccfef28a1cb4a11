// Package auth owns who somebody is and what they may touch: account names,
// stored verifiers, the SCRAM and PLAIN exchanges, the memory of verified
// logins, account rows with their rosters, and the access rules for topics.
//
// It must never open a socket or a file, log, read the clock, or keep a plain
// or salted password beyond the call that was handed it. Randomness and time
// arrive as arguments. Values are not safe for concurrent use, with two
// exceptions: [Remembered] guards itself, and an [ACL] never changes once it
// is in use.
package auth
