package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pushhub/config"
	"pushhub/core"
)

// The control socket lets the command line change a hub that runs. Only who may
// open the data directory may use it.

// An order is what the command line asks of a hub.
type order struct {
	Verb     string `json:"verb"` // add, passwd, del, list, contact
	Name     string `json:"name,omitempty"`
	Password string `json:"password,omitempty"`
	Contact  string `json:"contact,omitempty"`
}

// An answer is what the hub says to it.
type answer struct {
	Names []string `json:"names,omitempty"`
	Error string   `json:"error,omitempty"`
	Code  int      `json:"code,omitempty"` // the exit code that fits the error
}

// obey carries out an order.
func (h *hub) obey(o order) answer {
	var err error
	switch o.Verb {
	case "add":
		err = h.Register(o.Name, o.Password)
	case "passwd":
		err = h.SetPassword(o.Name, o.Password)
	case "del":
		err = h.Remove(o.Name)
	case "contact":
		err = h.Link(o.Name, o.Contact)
	case "list":
		names := h.Names()
		slices.Sort(names)
		return answer{Names: names}
	default:
		err = fmt.Errorf("%w: the order %q", core.ErrUnsupported, o.Verb)
	}
	if err == nil {
		return answer{}
	}
	code := exitFailure
	if errors.Is(err, core.ErrNotFound) || errors.Is(err, core.ErrExists) {
		code = exitRefused
	}
	return answer{Error: err.Error(), Code: code}
}

type control struct {
	server *http.Server
	stop   context.CancelFunc // ends what takes long: a backup
	done   chan error         // what Serve returned; capacity 1, never closed
}

const maxOrder = 64 << 10

func socketPath(dataDir string) string { return filepath.Join(dataDir, "control.sock") }

// listenControl opens the control socket of a hub, whose store lock makes it the only one there.
func listenControl(dataDir string, h *hub) (*control, error) {
	path := socketPath(dataDir)
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing an old control socket: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /order", func(w http.ResponseWriter, r *http.Request) {
		var o order
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(h.obey(o)) // the asker has gone: nobody to tell
	})
	mux.HandleFunc("GET /backup", serveBackup(dataDir, h))
	ctx, stop := context.WithCancel(context.Background())
	c := &control{
		server: &http.Server{
			Handler: mux, ReadHeaderTimeout: 5 * time.Second,
			BaseContext: func(net.Listener) context.Context { return ctx },
		},
		stop: stop,
		done: make(chan error, 1),
	}
	go func() { c.done <- c.server.Serve(ln) }()
	return c, nil
}

// Close stops the control socket.
func (c *control) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c.stop()
	err := c.server.Shutdown(ctx)
	if err != nil {
		err = c.server.Close() // somebody asked for a backup and does not read it
	}
	if serr := <-c.done; err == nil && !errors.Is(serr, http.ErrServerClosed) {
		err = serr
	}
	return err
}

// controlClient speaks to the hub that runs on the data directory.
func controlClient(dataDir string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socketPath(dataDir))
	}}}
}

// notDialed reports whether an error of controlClient means that no hub runs.
func notDialed(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

// ask gives an order to the hub that runs on the data directory; without one it
// opens the store itself.
func ask(ctx context.Context, cfg config.Config, o order) (answer, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return answer{}, err
	}
	path := socketPath(cfg.DataDir)
	client := controlClient(cfg.DataDir)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://hub/order", bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	res, err := client.Do(req)
	if notDialed(err) {
		return askStore(ctx, cfg, o)
	}
	if err != nil {
		return answer{}, fmt.Errorf("asking the hub at %s: %w", path, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return answer{}, fmt.Errorf("the hub at %s answers %s: %s", path, res.Status, strings.TrimSpace(string(text)))
	}
	var a answer
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		return answer{}, fmt.Errorf("reading the answer of the hub at %s: %w", path, err)
	}
	return a, nil
}

// askStore carries out an order on the store of a hub that does not run.
func askStore(ctx context.Context, cfg config.Config, o order) (answer, error) {
	h := &hub{failed: make(chan error, 1)}
	log := newLog(config.Log{Level: "error"}, os.Stderr)
	err := h.startCore(ctx, cfg, log)
	var a answer
	if err == nil {
		a = h.obey(o)
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return a, errors.Join(err, h.Close(closing))
}
