// Package outbound has what connections to others have in common, whether they lead
// to the platform, to a webhook's receiver or to NATS: certificates, a proxy, and that
// a connection over which nothing comes back is given up.
package outbound
