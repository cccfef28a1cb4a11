package framer

import (
	"errors"
	"fmt"
)

// The kinds of violation, each named for the stream error of RFC 6120 §4.9.3
// that answers it. Test with errors.Is; what Next returns is a *SyntaxError
// that wraps one of them.
var (
	ErrBadFormat           = errors.New("bad-format")           // RFC 6120 §4.9.3.1
	ErrNamespacePrefix     = errors.New("bad-namespace-prefix") // RFC 6120 §4.9.3.2
	ErrInvalidNamespace    = errors.New("invalid-namespace")    // RFC 6120 §4.9.3.10
	ErrNotWellFormed       = errors.New("not-well-formed")      // RFC 6120 §4.9.3.13
	ErrPolicy              = errors.New("policy-violation")     // RFC 6120 §4.9.3.14
	ErrRestrictedXML       = errors.New("restricted-xml")       // RFC 6120 §4.9.3.18
	ErrUnsupportedEncoding = errors.New("unsupported-encoding") // RFC 6120 §4.9.3.22
)

// SyntaxError says what is wrong with a stream, and where.
type SyntaxError struct {
	Kind   error  // one of the sentinels of this package
	Detail string // one of a fixed set of texts; never bytes of the peer
	Offset int64  // bytes from the start of the stream, 0 is the first byte
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%v: %s at byte %d", e.Kind, e.Detail, e.Offset)
}

// Unwrap returns the kind.
func (e *SyntaxError) Unwrap() error { return e.Kind }

// The details, constants so that tests can name them.
const (
	detailAttrCount     = "too many attributes or prefix declarations"
	detailAttrLess      = "'<' in an attribute value"
	detailAttrQuote     = "attribute value without quotes"
	detailAttrEquals    = "attribute without value"
	detailAttrSpace     = "no white space before an attribute"
	detailAttrTwice     = "attribute given twice"
	detailAttrSame      = "attributes with the same expanded name"
	detailBang          = "unknown declaration"
	detailBracket       = "']]>' in text"
	detailCDATAOutside  = "CDATA section between stanzas"
	detailChar          = "character that XML forbids"
	detailColon         = "misplaced colon in a name"
	detailComment       = "comment or document type declaration"
	detailDecl          = "malformed XML declaration"
	detailDepth         = "elements nested too deeply"
	detailEncoding      = "encoding other than UTF-8"
	detailEndTag        = "end tag without its start tag"
	detailEntity        = "entity that is not predefined"
	detailForeign       = "prefix declared on the stream header"
	detailMarkup        = "markup without a name"
	detailNSBound       = "namespace reserved for another prefix"
	detailNSChar        = "namespace name that is not an IRI reference"
	detailNSEmpty       = "prefix bound to no namespace"
	detailNSReserved    = "reserved prefix"
	detailNSUnbound     = "undeclared prefix"
	detailName          = "character that no name may hold"
	detailPI            = "processing instruction"
	detailReference     = "malformed reference"
	detailReferenceChar = "reference to a character that XML forbids"
	detailRoot          = "first element is not a stream header"
	detailRootEmpty     = "stream header closed at once"
	detailRootSpace     = "stream header in a foreign namespace"
	detailSize          = "element larger than the limit"
	detailTag           = "malformed tag"
	detailTextOutside   = "text between stanzas"
)
