from deepaug.cli import main

if __name__ == "__main__":
    main()
