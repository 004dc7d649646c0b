// Package e2e proves the README's promises with real Portage, real ebuilds and the real program, on hosts in network
// namespaces. All of it is in tests.
package e2e
