//go:build race

package hubtest

// raceDetector: the hub is built as the tests are.
const raceDetector = true
