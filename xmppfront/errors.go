package xmppfront

import (
	"errors"
	"strconv"

	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"

	"pushhub/core"
	"pushhub/core/auth"
	"pushhub/xmppfront/framer"
)

// fault is a stanza error, RFC 6120 §8.3.
type fault struct {
	typ   stanza.ErrorType
	cond  stanza.Condition
	extra string // an application-specific condition, as XML
	text  string // for people; never bytes of a peer
}

// Error implements error.
func (f fault) Error() string { return string(f.cond) + " " + f.text }

// with returns f with an application-specific condition.
func (f fault) with(extra string) fault {
	f.extra = extra
	return f
}

// says returns f with a text for people.
func (f fault) says(text string) fault {
	f.text = text
	return f
}

// The stanza errors, with the types that RFC 6120 §8.3.3 recommends.
var (
	badRequest     = fault{typ: stanza.Modify, cond: stanza.BadRequest}
	conflict       = fault{typ: stanza.Cancel, cond: stanza.Conflict}
	notImplemented = fault{typ: stanza.Cancel, cond: stanza.FeatureNotImplemented}
	forbidden      = fault{typ: stanza.Auth, cond: stanza.Forbidden}
	internalError  = fault{typ: stanza.Wait, cond: stanza.InternalServerError}
	itemNotFound   = fault{typ: stanza.Cancel, cond: stanza.ItemNotFound}
	jidMalformed   = fault{typ: stanza.Modify, cond: stanza.JIDMalformed}
	notAcceptable  = fault{typ: stanza.Modify, cond: stanza.NotAcceptable}
	notAllowed     = fault{typ: stanza.Cancel, cond: stanza.NotAllowed}
	notAuthorized  = fault{typ: stanza.Auth, cond: stanza.NotAuthorized}
	overPolicy     = fault{typ: stanza.Modify, cond: stanza.PolicyViolation}
	overloaded     = fault{typ: stanza.Wait, cond: stanza.ResourceConstraint}
	remoteMissing  = fault{typ: stanza.Cancel, cond: stanza.RemoteServerNotFound}
	unacceptable   = fault{typ: stanza.Cancel, cond: stanza.NotAcceptable}
	unavailable    = fault{typ: stanza.Cancel, cond: stanza.ServiceUnavailable}
	unexpected     = fault{typ: stanza.Wait, cond: stanza.UnexpectedRequest}
)

// legacyCodes are the error codes of XEP-0086 §3, which old clients read in
// place of the condition: androidpn acts on 401 and 409.
var legacyCodes = map[stanza.Condition]int{
	stanza.BadRequest: 400, stanza.Conflict: 409, stanza.FeatureNotImplemented: 501, stanza.Forbidden: 403,
	stanza.InternalServerError: 500, stanza.ItemNotFound: 404, stanza.JIDMalformed: 400, stanza.NotAcceptable: 406,
	stanza.NotAllowed: 405, stanza.NotAuthorized: 401, stanza.RemoteServerNotFound: 404, stanza.ResourceConstraint: 500,
	stanza.ServiceUnavailable: 503, stanza.UnexpectedRequest: 400,
}

// append writes the <error/> element.
func (f fault) append(b []byte) []byte {
	b = append(b, "<error type='"...)
	b = append(b, f.typ...)
	if code := legacyCodes[f.cond]; code != 0 {
		b = append(b, "' code='"...)
		b = strconv.AppendInt(b, int64(code), 10)
	}
	b = append(b, "'><"...)
	b = append(b, f.cond...)
	b = append(b, " xmlns='"+stanza.NSError+"'/>"...)
	if f.text != "" {
		b = append(b, "<text xmlns='"+stanza.NSError+"' xml:lang='en'>"...)
		b = framer.AppendEscapedText(b, f.text)
		b = append(b, "</text>"...)
	}
	b = append(b, f.extra...)
	return append(b, "</error>"...)
}

// coreFaults maps the errors of the core to stanza errors.
var coreFaults = []struct {
	err   error
	fault fault
}{
	{core.ErrBusy, overloaded},
	{core.ErrExists, conflict},
	{core.ErrNotFound, itemNotFound},
	{core.ErrStopped, fault{typ: stanza.Wait, cond: stanza.ServiceUnavailable}},
	{core.ErrBlocked, isBlocked}, // these two before ErrForbidden, which they are
	{core.ErrUnwanted, unavailable},
	{core.ErrForbidden, forbidden},
	{core.ErrNotAuthorized, notAuthorized},
	{core.ErrBadTopic, jidMalformed},
	{core.ErrFull, overloaded},
	{core.ErrUnavailable, internalError},
	{core.ErrQuota, overPolicy},
	{core.ErrUnsupported, notImplemented},
	{core.ErrTakenOver, conflict},
	{auth.ErrBadName, notAcceptable},
	{auth.ErrBadPassword, notAcceptable},
	{auth.ErrNotAuthorized, notAuthorized},
}

// faultOf is the stanza error that tells of err.
func faultOf(err error) fault {
	var f fault
	if errors.As(err, &f) {
		return f
	}
	for _, row := range coreFaults {
		if errors.Is(err, row.err) {
			return row.fault
		}
	}
	return internalError
}

// streamErrors maps whatever ends a stream to its stream error, RFC 6120 §4.9.3.
var streamErrors = []struct {
	err  error
	cond stream.Error
}{
	{framer.ErrBadFormat, stream.BadFormat},
	{framer.ErrNamespacePrefix, stream.BadNamespacePrefix},
	{framer.ErrInvalidNamespace, stream.InvalidNamespace},
	{framer.ErrNotWellFormed, stream.NotWellFormed},
	{framer.ErrPolicy, stream.PolicyViolation},
	{framer.ErrRestrictedXML, stream.RestrictedXML},
	{framer.ErrUnsupportedEncoding, stream.UnsupportedEncoding},
	{core.ErrTakenOver, stream.Conflict},
	{core.ErrStopped, stream.SystemShutdown},
	{core.ErrEnded, stream.NotAuthorized},
	{core.ErrQuota, stream.PolicyViolation},
	{core.ErrBusy, stream.ResourceConstraint},
}

// streamErrorOf is the stream error that tells of err.
func streamErrorOf(err error) stream.Error {
	var s stream.Error
	if errors.As(err, &s) {
		return s
	}
	for _, row := range streamErrors {
		if errors.Is(err, row.err) {
			return row.cond
		}
	}
	return stream.InternalServerError
}

// errorWith is a kind of error with words for people.
type errorWith struct {
	kind error
	text string
}

func (e errorWith) Error() string { return e.text }
func (e errorWith) Unwrap() error { return e.kind }

// streamText is what a stream error says to people: nothing of a peer's bytes.
func streamText(err error) string {
	var with errorWith
	if errors.As(err, &with) {
		return with.text
	}
	var syntax *framer.SyntaxError
	if errors.As(err, &syntax) {
		return syntax.Detail
	}
	return ""
}
