package framer

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mutants is how many mutated stanzas each comparison takes.
func mutants() int {
	if testing.Short() {
		return 30_000
	}
	return 300_000
}

// tokens are what mutations put in: markup, and the bytes on which parsers differ.
var tokens = strings.Split("< > / = ' \" & ; : ! ? # [ ] - x \t \n \r a b <a> </a> <a/> <x:a> </x:a> xmlns= xmlns:x='u' "+
	"xmlns:y='u' xmlns='' xmlns:x='' xmlns:xml='u' xmlns:xmlns='u' x:b='1' y:b='1' b='1' xml:lang='en' <!-- --> <![CDATA[ ]]> <?x ?> "+
	"&amp; &lt; &quot; &nbsp; &#65; &#x0; &#xFFFE; &#x1F600; &#xD800; \x00 \x01 \x7F \x80 \xC0 \xE9 \xFF \uFFFE \uFFFF \uFFFD \u0085 "+
	"é · \u0301 × ÷ \u2070 \u3007 \uFB01 \U0001F600 \U00010400 \xED\xA0\x80 \xF4\x90\x80\x80 \xE2\x82 http://www.w3.org/XML/1998/namespace "+
	"http://www.w3.org/2000/xmlns/ } | ^ 1 . stream:a <stream:b/> "+testClose, " ")

// mutate changes a good stanza in one to four places.
func mutate(r *rand.Rand) []byte {
	s := []byte(goodStanzas[r.IntN(len(goodStanzas))])
	for range 1 + r.IntN(4) {
		at := r.IntN(len(s) + 1)
		end := min(len(s), at+r.IntN(4))
		token := tokens[r.IntN(len(tokens))]
		switch r.IntN(6) {
		case 0:
			s = slices.Delete(s, at, end)
		case 1:
			s = slices.Insert(s, at, s[at:end]...)
		case 2:
			s = slices.Replace(s, at, end, []byte(token)...)
		case 3: // as an attribute
			s = slices.Insert(s, at, []byte(" "+token+" ")...)
		case 4:
			other := goodStanzas[r.IntN(len(goodStanzas))]
			s = slices.Insert(s, at, []byte(other)...)
		case 5:
			s = slices.Insert(s, at, []byte(token)...)
		}
		if len(s) == 0 {
			s = []byte("<a/>")
		}
	}
	return s
}

// frames returns the framer's judgement of a stanza in a stream that goes on.
func frames(stanza []byte) error {
	f := New(Limits{StanzaBytes: 1 << 20})
	got, err := feed(f, slices.Concat([]byte(testHeader), stanza, []byte(testClose)), atOnce)
	if err == nil && (len(got) == 0 || got[len(got)-1] != "3 ") {
		return errors.New("not ended")
	}
	return err
}

// decodes returns encoding/xml's judgement of the same.
func decodes(stanza []byte) error {
	d := xml.NewDecoder(bytes.NewReader(slices.Concat([]byte(testHeader), stanza, []byte(testClose))))
	for {
		if _, err := d.Token(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// laxer lists what the framer refuses and encoding/xml lets pass, with the
// reason.
var laxer = map[string]string{
	detailTextOutside:   "RFC 6120 §11.7: only white space between stanzas; also text after the root, which XML forbids",
	detailCDATAOutside:  "the same",
	detailComment:       "RFC 6120 §11.1: allowed by XML, not in XMPP",
	detailPI:            "the same",
	detailForeign:       "the stream's prefix within a stanza: a rule of this package",
	detailAttrTwice:     "XML §3.1, unchecked by encoding/xml",
	detailAttrSame:      "Namespaces §6.3, unchecked",
	detailAttrSpace:     "XML §3.1 [40], unchecked",
	detailNSBound:       "Namespaces §3, unchecked",
	detailNSReserved:    "Namespaces §3, unchecked",
	detailNSEmpty:       "Namespaces §5, unchecked",
	detailNSChar:        "Namespaces §2.2, unchecked",
	detailNSUnbound:     "Namespaces §5, unchecked: the prefix is taken as the namespace",
	detailColon:         "Namespaces §4, partly unchecked",
	detailName:          "Namespaces §4: the part after the colon may begin with any name character",
	detailMarkup:        "Namespaces §4: a name that begins with a colon",
	detailTag:           "the same, of an attribute",
	detailBang:          "XML §2.8: any directive is skipped",
	detailReferenceChar: "XML §4.1 [66]: a surrogate becomes U+FFFD",
}

func TestNoStanzaPassesThatEncodingXMLRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(6120, 1))
	seen := map[string]int{}
	accepted := 0
	for range mutants() {
		s := mutate(r)
		err, ref := frames(s), decodes(s)
		var se *SyntaxError
		switch {
		case err == nil && ref != nil:
			t.Fatalf("false accept: %q: %v", s, ref)
		case err == nil:
			accepted++
		case ref == nil && !errors.As(err, &se):
			t.Fatalf("%q: %v", s, err)
		case ref == nil:
			if seen[se.Detail]++; laxer[se.Detail] == "" && seen[se.Detail] == 1 {
				t.Errorf("false refusal: %q: %v", s, err)
			}
		}
	}
	for detail := range laxer {
		if seen[detail] == 0 && !testing.Short() {
			t.Errorf("encoding/xml refuses whatever is %q: take it off the list", detail)
		}
	}
	t.Logf("%d of %d accepted; encoding/xml is laxer: %v", accepted, mutants(), seen)
}

// expat reads records of a length and a document, and answers each with a byte.
const expat = `
import sys, struct
from xml.parsers import expat
data, out, i = sys.stdin.buffer.read(), bytearray(), 0
while i < len(data):
    n = struct.unpack_from('<I', data, i)[0]
    p = expat.ParserCreate('utf-8', '}')
    try:
        p.Parse(data[i+4:i+4+n], True)
        out += b'y'
    except expat.ExpatError:
        out += b'n'
    i += 4 + n
sys.stdout.buffer.write(out)
`

func TestNoStanzaPassesThatExpatRefuses(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is missing: the framer was NOT compared with expat")
	}
	if out, err := exec.Command(python, "-c", "import pyexpat").CombinedOutput(); err != nil {
		t.Skipf("pyexpat is missing: the framer was NOT compared with expat: %s", out)
	}
	r := rand.New(rand.NewPCG(6120, 2))
	var docs [][]byte
	var judged []error
	var input bytes.Buffer
	for range mutants() {
		s := mutate(r)
		doc := slices.Concat([]byte(testHeader), s, []byte(testClose))
		docs, judged = append(docs, s), append(judged, frames(s))
		input.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(doc))))
		input.Write(doc)
	}
	cmd := exec.Command(python, "-c", expat)
	cmd.Stdin = &input
	out, err := cmd.Output()
	if err != nil || len(out) != len(docs) {
		t.Fatalf("python3: %v, %d answers", err, len(out))
	}
	accepted, seen := 0, map[string]int{}
	for i, answer := range out {
		var se *SyntaxError
		switch {
		case judged[i] == nil && answer == 'n':
			t.Errorf("false accept: %q", docs[i])
		case judged[i] == nil:
			accepted++
		case answer == 'y' && errors.As(judged[i], &se):
			if seen[se.Detail]++; !slices.Contains(stricterThanXML, se.Detail) {
				t.Errorf("false refusal: %q: %v", docs[i], se)
			}
		}
	}
	t.Logf("%d of %d accepted; refused beyond expat: %v", accepted, len(docs), seen)
}

// stricterThanXML lists what well-formed XML may hold and a stream may not.
var stricterThanXML = []string{
	detailTextOutside, detailCDATAOutside, // RFC 6120 §11.7
	detailComment, detailPI, // RFC 6120 §11.1
	detailForeign, // a rule of this package
	detailNSChar,  // expat refuses only the one character that it joins names with
}
