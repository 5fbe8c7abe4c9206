module example.org/watchers

go 1.22
