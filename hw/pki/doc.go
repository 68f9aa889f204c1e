// Package pki is the domain's own authority: who may speak at all, and as whom.
//
// A domain is a master and the hosts and people that belong to it. Its
// [Authority], on the master, is one self-signed certificate; every host and
// every person has a certificate of it, and nobody else is ever trusted. Who the
// holder is stands in the certificate as a URI:
//
//	capstan://<domain>/host/<name>?kinds=master+media
//	capstan://<domain>/user/<name>?kinds=user
//
// [FromCertificate] reads it. The certificate of a host carries its name as DNS
// name too, so that the standard verification of TLS checks the host addressed.
//
// A host comes into the domain by a token. The master makes it
// ([Authority.NewToken]) for one name, with a lifetime, to be used once; an
// operator carries it over. The token holds the fingerprint of the authority, so
// the host knows the master before it says anything; the host makes its key and
// a request ([NewRequest]), the master redeems the token for a certificate
// ([Authority.Redeem]), the host keeps both ([Save]). The key never leaves the
// host. Package port carries the exchange.
//
// Files, all mode 0600, in a directory of mode 0700: ca.pem, host.pem and
// host.key on every host; on the master ca/ca.pem, ca/ca.key and ca/tokens/.
package pki
