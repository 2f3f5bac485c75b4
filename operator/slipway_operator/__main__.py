from slipway_operator.main import main

main()
