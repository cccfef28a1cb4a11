package xmppfront

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"strconv"
	"time"

	"mellium.im/xmpp/stanza"

	"pushhub/xmppfront/framer"
)

// The requests of XEP-0198 and their answers, which go by themselves or along with
// a login.

// tagBytes is the length of what only the client of a stream knows.
const tagBytes = 16

// resumptionID names a stream by what its session is found with, so that it can
// be resumed after a restart of the hub.
func resumptionID(resource, tag string) string {
	p := binary.AppendUvarint(nil, uint64(len(resource)))
	p = append(append(p, resource...), tag...)
	return base64.RawURLEncoding.EncodeToString(p)
}

// parseResumptionID reads what resumptionID wrote.
func parseResumptionID(id []byte) (resource, tag string, ok bool) {
	if len(id) > 2*maxPart || bytes.ContainsAny(id, "\r\n") { // which the decoder passes over
		return "", "", false
	}
	p, err := base64.RawURLEncoding.Strict().DecodeString(string(id))
	if err != nil {
		return "", "", false
	}
	n, used := binary.Uvarint(p)
	if used <= 0 || n == 0 || n > maxPart || int(n) != len(p)-used-tagBytes {
		return "", "", false
	}
	p = p[used:]
	return string(p[:n]), string(p[n:]), true
}

// enabling is a request to make a stream a managed one. XEP-0198 §3
type enabling struct {
	resume bool          // it shall be resumable
	most   time.Duration // for so long at most; 0: as long as we like
}

func enablingOf(s framer.Element) *enabling {
	q := new(enabling)
	if resume, _ := s.Attr("resume"); string(resume) == "true" || string(resume) == "1" {
		q.resume = true
	}
	wanted, _ := s.Attr("max")
	if n, err := strconv.ParseUint(string(wanted), 10, 31); err == nil && n > 0 {
		q.most = time.Duration(n) * time.Second
	}
	return q
}

// newManaged makes the state of a managed stream. The error is that of the randomness.
func (e *engine) newManaged(resource string, q *enabling) (*managed, error) {
	if !q.resume {
		return new(managed), nil
	}
	tag := make([]byte, tagBytes)
	if _, err := io.ReadFull(e.front.rand, tag); err != nil {
		return nil, err
	}
	m := &managed{resource: resource, tag: string(tag), expiry: e.front.opt.ResumeTimeout}
	if q.most > 0 {
		m.expiry = min(m.expiry, q.most)
	}
	return m, nil
}

func enabledElement(m *managed) []byte {
	p := []byte("<enabled xmlns='" + nsSM + "'")
	if m.tag != "" {
		p = attr(p, "id", resumptionID(m.resource, m.tag))
		p = append(p, " resume='true'"...)
		p = attr(p, "max", strconv.Itoa(int((m.expiry+time.Second-1)/time.Second)))
	}
	return append(p, "/>"...)
}

// resumption is a request to go on with an earlier stream. XEP-0198 §5
type resumption struct {
	resource, tag string
	h             uint32           // what the client has handled
	wrong         stanza.Condition // why it cannot be; empty: perhaps it can
}

func resumptionOf(s framer.Element) *resumption {
	id, _ := s.Attr("previd")
	h, ok := countOf(s)
	if !ok {
		return &resumption{wrong: stanza.BadRequest}
	}
	resource, tag, ok := parseResumptionID(id)
	if !ok {
		return &resumption{wrong: stanza.ItemNotFound}
	}
	return &resumption{resource: resource, tag: tag, h: h}
}

func failedElement(cond stanza.Condition, extra string) []byte {
	return []byte("<failed xmlns='" + nsSM + "'" + extra + "><" + string(cond) + " xmlns='" + stanza.NSError + "'/></failed>")
}
