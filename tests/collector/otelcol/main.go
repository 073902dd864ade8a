// A collector of just the components that the configurations in monitoring/otel-collector name, as far as the module proxy
// has them. The tests run against it; operators run the contrib distribution, which has them all.
package main

import (
	"os"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/spanmetricsconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusexporter"
	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/healthcheckextension"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/resourceprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/tailsamplingprocessor"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/forwardconnector"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/memorylimiterprocessor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

// version is that of the contrib distribution whose components these are.
const version = "0.165.1"

func components() (otelcol.Factories, error) {
	factories := otelcol.Factories{Telemetry: otelconftelemetry.NewFactory()}
	var err error
	add := func(build func() error) {
		if err == nil {
			err = build()
		}
	}
	add(func() (failed error) {
		factories.Extensions, failed = otelcol.MakeFactoryMap[extension.Factory](healthcheckextension.NewFactory())
		return
	})
	add(func() (failed error) {
		factories.Receivers, failed = otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
		return
	})
	add(func() (failed error) {
		factories.Processors, failed = otelcol.MakeFactoryMap[processor.Factory](
			memorylimiterprocessor.NewFactory(),
			resourceprocessor.NewFactory(),
			tailsamplingprocessor.NewFactory(),
		)
		return
	})
	add(func() (failed error) {
		factories.Connectors, failed = otelcol.MakeFactoryMap[connector.Factory](
			forwardconnector.NewFactory(),
			spanmetricsconnector.NewFactory(),
		)
		return
	})
	add(func() (failed error) {
		factories.Exporters, failed = otelcol.MakeFactoryMap[exporter.Factory](
			otlpexporter.NewFactory(),
			otlphttpexporter.NewFactory(),
			prometheusexporter.NewFactory(),
		)
		return
	})
	return factories, err
}

func main() {
	command := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "otelcol", Description: "OpenTelemetry Collector of the tests", Version: version},
		Factories: components,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			ProviderFactories: []confmap.ProviderFactory{
				envprovider.NewFactory(),
				fileprovider.NewFactory(),
				// For the flag --set.
				yamlprovider.NewFactory(),
			},
			DefaultScheme:     "env",
		}},
	})
	// It has said why already.
	if command.Execute() != nil {
		os.Exit(1)
	}
}
