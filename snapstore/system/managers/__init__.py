"""The dialects of package managers, one or a few modules each, behind `snapstore.system.packages.PackageManager`."""
