package device

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
)

// onPipe is an endpoint whose only connection is the given one.
func onPipe(client net.Conn) Endpoint {
	return Endpoint{Address: "hub.example:1", Dial: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
}

// A play is what a server does: it waits for a text of the client, then says
// something. In what it says, $id is the identifier of the client's last IQ.
type play []struct{ hear, say string }

// perform plays the server's part on a pipe and returns the client's end. The
// server reads on until the client hangs up; heard then yields all that it heard.
func perform(t *testing.T, p play) (client net.Conn, heard <-chan string) {
	t.Helper()
	server, client := net.Pipe()
	all := make(chan string, 1) // sender and closer: the goroutine below
	go func() {
		defer close(all)
		defer server.Close()
		in := bufio.NewReader(server)
		var log, part strings.Builder
		id := ""
		for _, line := range p {
			for !strings.HasSuffix(part.String(), line.hear) {
				c, err := in.ReadByte()
				if err != nil {
					all <- log.String()
					return
				}
				part.WriteByte(c)
				log.WriteByte(c)
			}
			if at := strings.LastIndex(part.String(), "<iq"); at >= 0 {
				id = idOf(part.String()[at:])
			}
			part.Reset()
			if _, err := server.Write([]byte(strings.ReplaceAll(line.say, "$id", id))); err != nil {
				break
			}
		}
		for {
			c, err := in.ReadByte()
			if err != nil {
				break
			}
			log.WriteByte(c)
		}
		all <- log.String()
	}()
	return client, all
}

func idOf(iq string) string {
	for _, quote := range []string{"'", `"`} {
		if _, rest, ok := strings.Cut(iq, " id="+quote); ok {
			id, _, _ := strings.Cut(rest, quote)
			return id
		}
	}
	return ""
}
