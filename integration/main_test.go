package integration

import (
	"testing"

	"pushhub/integration/hubtest"
)

func TestMain(m *testing.M) { hubtest.Main(m) }
