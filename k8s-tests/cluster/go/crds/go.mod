// Only for their CRDs and schemas: files that travel with these modules. Nothing of them is built.
module slipway.dev/cluster/crds

go 1.26.4

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/compose-spec/compose-go/v2 v2.9.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.6.3
)
